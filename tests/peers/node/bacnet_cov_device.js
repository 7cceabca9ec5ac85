// The npm package node-bacnet as a device: one analog value that can be written with priorities and subscribed to. Takes its port;
// prints "ready". Knows no ReadPropertyMultiple, as small devices do not.
const Bacnet = require("node-bacnet");

const INSTANCE = 599;
const client = new Bacnet({ port: Number(process.argv[2]), interface: "127.0.0.1", broadcastAddress: "127.0.0.1" });
const slots = Array(17).fill(null);
let subscriber = null;

const present = () => slots.find((value) => value !== null) ?? 20.5;
const real = (value) => ({ type: 4, value });
const flags = { type: 8, value: { value: [0], bitsUsed: 4 } };
const properties = {
  "8:76": () => [{ type: 12, value: { type: 8, instance: INSTANCE } }, { type: 12, value: { type: 2, instance: 1 } }],
  "8:77": () => [{ type: 7, value: "peer" }],
  "8:121": () => [{ type: 7, value: "node-bacnet" }],
  "2:77": () => [{ type: 7, value: "ZN-T" }],
  "2:85": () => [real(present())],
  "2:87": () => slots.slice(1).map((value) => (value === null ? { type: 0, value: null } : real(value))),
  "2:111": () => [flags],
  "2:117": () => [{ type: 9, value: 62 }],
};

const tell = () => {
  if (subscriber === null) return;
  client.unconfirmedCOVNotification(subscriber.sender.address, subscriber.process, INSTANCE, { type: 2, instance: 1 }, 60, [
    { property: { id: 85 }, value: [real(present())] },
    { property: { id: 111 }, value: [flags] },
  ]);
};

client.on("whoIs", ({ header }) => client.iAmResponse(header.sender, INSTANCE, 3, 999));
client.on("readProperty", ({ header, invokeId, service, payload }) => {
  const value = properties[`${payload.objectId.type}:${payload.property.id}`];
  if (value) client.readPropertyResponse(header.sender, invokeId, payload.objectId, payload.property, value());
  else client.errorResponse(header.sender, service, invokeId, 2, 32);
});
client.on("writeProperty", ({ header, invokeId, service, payload }) => {
  const { value, priority } = payload.value;
  const [written] = value;
  if (written.type === 4 && written.value > 50) {
    client.errorResponse(header.sender, service, invokeId, 2, 37);
    return;
  }
  slots[priority] = written.type === 0 ? null : written.value;
  client.simpleAckResponse(header.sender, service, invokeId);
  tell();
});
client.on("subscribeCov", ({ header, invokeId, service, payload }) => {
  subscriber = payload.cancellationRequest ? null : { sender: header.sender, process: payload.subscriberProcessId };
  client.simpleAckResponse(header.sender, service, invokeId);
  tell();
});
client.on("listening", () => console.log("ready"));

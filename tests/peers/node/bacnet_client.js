// The npm package node-bacnet as a client of our simulated devices. Takes the ports of an air handler, a large controller and a
// router, asks them, and prints what it got as one JSON line.
const dgram = require("dgram");
const Bacnet = require("node-bacnet");

const [ahuPort, floorPort, routerPort] = process.argv.slice(2);
const at = (port, more) => ({ address: `127.0.0.1:${port}`, ...more });

const ask = (client, method, ...args) =>
  new Promise((resolve) => client[method](...args, (error, value) => resolve(error ? { error: String(error.message) } : value)));

const freePort = () =>
  new Promise((resolve) => {
    const probe = dgram.createSocket("udp4");
    probe.bind(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

const main = async () => {
  const client = new Bacnet({ port: await freePort(), interface: "127.0.0.1", broadcastAddress: "127.0.0.1", apduTimeout: 6000 });
  await new Promise((resolve) => client.on("listening", resolve));
  // Two slips of node-bacnet 0.2.4: it acknowledges segments to nobody, and takes its put-together answer for a segment again.
  const acknowledge = client._segmentAckResponse.bind(client);
  client._segmentAckResponse = (receiver, ...rest) => acknowledge(at(floorPort), ...rest);
  const whole = client._performDefaultSegmentHandling.bind(client);
  client._performDefaultSegmentHandling = (message, ...rest) => {
    message.header.apduType &= ~0x08;
    whole(message, ...rest);
  };
  const heard = [];
  client.on("iAm", (message) => heard.push(message.payload.deviceId));
  const notified = [];
  const noticed = (count) =>
    new Promise((resolve) => {
      const look = () => (notified.length >= count ? resolve() : setTimeout(look, 10));
      look();
    });
  client.on("covNotifyUnconfirmed", (message) => notified.push(message.payload));
  const ahu = at(ahuPort);
  const setPoint = { type: 2, instance: 1 };
  client.whoIs(ahu, { lowLimit: 1, highLimit: 4194302 });
  const out = {};
  out.real = await ask(client, "readProperty", ahu, { type: 0, instance: 1 }, 85);
  out.missing = await ask(client, "readProperty", ahu, { type: 0, instance: 999 }, 85);
  out.several = await ask(client, "readPropertyMultiple", ahu, [
    { objectId: { type: 8, instance: 1001 }, properties: [{ id: 121 }, { id: 70 }, { id: 155 }] },
    { objectId: { type: 19, instance: 1 }, properties: [{ id: 85 }, { id: 110 }] },
    { objectId: { type: 1, instance: 1 }, properties: [{ id: 8 }] },
  ]);
  out.subscribed = await ask(client, "subscribeCov", ahu, setPoint, 7, false, false, 60);
  await noticed(1);
  out.written = await ask(client, "writeProperty", ahu, setPoint, 85, [{ type: 4, value: 24.5 }], { priority: 8 });
  await noticed(2);
  out.slots = await ask(client, "readProperty", ahu, setPoint, 87);
  out.released = await ask(client, "writeProperty", ahu, setPoint, 85, [{ type: 0, value: null }], { priority: 8 });
  out.tooHigh = await ask(client, "writeProperty", ahu, setPoint, 85, [{ type: 4, value: 99 }], { priority: 8 });
  out.objects = await ask(client, "readProperty", at(floorPort), { type: 8, instance: 505 }, 76);
  out.log = await ask(client, "readRange", ahu, { type: 20, instance: 1 }, 1, 20);
  out.routed = await ask(client, "readProperty", at(routerPort, { net: 20, adr: [2] }), { type: 0, instance: 1 }, 77);
  out.heard = heard;
  out.notified = notified;
  console.log(JSON.stringify(out, (key, value) => (typeof value === "bigint" ? Number(value) : value)));
  client.close();
  process.exit(0);
};
main();

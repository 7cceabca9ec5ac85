// The npm package node-bacnet as a device: instance 77, analog values 0 to 9 that hold n + 0.25. Prints its UDP port, ends with its
// standard input.
const dgram = require("dgram");
const Bacnet = require("node-bacnet");

const values = (type, instance, id) => {
  if (type === 8 && id === 77) return [{ type: 7, value: "node-bacnet" }];
  if (type === 8 && id === 155) return [{ type: 2, value: 3 }];
  if (type !== 2 || instance > 9) return null;
  if (id === 85) return [{ type: 4, value: instance + 0.25 }];
  if (id === 111) return [{ type: 8, value: { value: [0], bitsUsed: 4 } }];
  if (id === 117) return [{ type: 9, value: 62 }];
  return null;
};

const serve = (port) => {
  const device = new Bacnet({ port, interface: "127.0.0.1", broadcastAddress: "127.0.0.1" });
  const back = ({ header }) => ({ address: header.sender.address });
  device.on("whoIs", (message) => {
    const { lowLimit, highLimit } = message.payload || {};
    if (lowLimit === undefined || (lowLimit <= 77 && 77 <= highLimit)) device.iAmResponse(back(message), 77, 3, 15);
  });
  device.on("readProperty", (message) => {
    const { objectId, property } = message.payload;
    const found = values(objectId.type, objectId.instance, property.id);
    if (found) device.readPropertyResponse(back(message), message.invokeId, objectId, property, found);
    else device.errorResponse(back(message), 12, message.invokeId, 2, 32);
  });
  device.on("readPropertyMultiple", (message) => {
    const answer = message.payload.properties.map(({ objectId, properties }) => ({
      objectId,
      values: properties.map((property) => ({
        property,
        value: values(objectId.type, objectId.instance, property.id) || [
          { type: 0, value: { type: "BacnetError", errorClass: 2, errorCode: 32 } },
        ],
      })),
    }));
    device.readPropertyMultipleResponse(back(message), message.invokeId, answer);
  });
  device.on("listening", () => console.log(port));
};

const probe = dgram.createSocket("udp4");
probe.bind(0, "127.0.0.1", () => {
  const { port } = probe.address();
  probe.close(() => serve(port));
});
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();

// A Modbus TCP server of the npm package modbus-serial, for the driver's tests. Holding register n holds n, input register n
// holds n + 1, coil and discrete input n are set where n is odd. Registers from 1000 on are refused. Prints its port.
const { ServerTCP } = require("modbus-serial");

const word = (add) => (address) => {
  if (address >= 1000) throw { modbusErrorCode: 2 };
  return (address + add) & 0xffff;
};
const vector = {
  getHoldingRegister: word(0),
  getInputRegister: word(1),
  getCoil: (address) => address % 2 === 1,
  getDiscreteInput: (address) => address % 2 === 1,
  readDeviceIdentification: () => ({ 0x00: "PeerMaker", 0x01: "PM-1", 0x02: "2.0" }),
};
const server = new ServerTCP(vector, { host: "127.0.0.1", port: "0", unitID: 5 });
server.on("initialized", () => console.log(server._server.address().port));
server.on("socketError", () => {});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

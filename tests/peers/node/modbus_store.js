// A Modbus TCP server of the npm package modbus-serial that keeps what is written to it, for the driver's tests. Everything begins
// at 0; holding registers from 1000 on are refused. Prints its port.
const { ServerTCP } = require("modbus-serial");

const words = new Map();
const bits = new Map();
const vector = {
  getHoldingRegister: (address) => words.get(address) || 0,
  getCoil: (address) => bits.get(address) || false,
  setRegister: (address, value) => {
    if (address >= 1000) throw { modbusErrorCode: 2 };
    words.set(address, value);
  },
  setCoil: (address, value) => bits.set(address, value),
};
const server = new ServerTCP(vector, { host: "127.0.0.1", port: "0", unitID: 5 });
server.on("initialized", () => console.log(server._server.address().port));
server.on("socketError", () => {});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

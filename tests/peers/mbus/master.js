// Reads out slaves behind a serial server: node master.js HOST PORT ADDRESS...; one JSON line each, then the result of a scan.
"use strict";
const MbusMaster = require("node-mbus");
const [host, port, ...addresses] = process.argv.slice(2);
const master = new MbusMaster({ host, port: Number(port), timeout: 300, autoConnect: false });
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const read = (address) =>
  new Promise((resolve) =>
    master.getData(address, (error, data) => resolve(error ? { address, error: String(error) } : { address, data })),
  );
const scan = () =>
  new Promise((resolve) => master.scanSecondary((error, found) => resolve({ scan: error ? String(error) : found })));
master.connect(async (error) => {
  if (error) {
    say({ error: String(error) });
    process.exit(1);
  }
  for (const address of addresses) say(await read(/^[0-9]{1,3}$/.test(address) ? Number(address) : address));
  say(await scan());
  master.close(() => process.exit(0));
});

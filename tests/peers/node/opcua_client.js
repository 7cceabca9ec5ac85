// A node-opcua client of our simulator: node opcua_client.js URL POLICY MODE PKI. Prints what it read, wrote and heard as JSON.
"use strict";
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

async function main() {
    const [url, policy, mode, pki] = process.argv.slice(2);
    const manager = new OPCUACertificateManager({ rootFolder: pki, automaticallyAcceptUnknownCertificate: true });
    await manager.initialize();
    const client = opcua.OPCUAClient.create({
        endpointMustExist: false, securityPolicy: opcua.SecurityPolicy[policy], securityMode: opcua.MessageSecurityMode[mode],
        connectionStrategy: { maxRetry: 0, initialDelay: 100 }, clientCertificateManager: manager,
    });
    await client.connect(url);
    const session = await client.createSession();
    const index = (await session.readNamespaceArray()).indexOf("urn:plantroom:sim:plant");
    const node = (name) => `ns=${index};s=ChillerPlant.Chiller1.${name}`;
    const [power, mode_, gone] = await session.read(["Power", "Mode", "NotThere"].map((name) => ({ nodeId: node(name), attributeId: 13 })));
    const written = await session.write({ nodeId: node("SupplySetpoint"), attributeId: 13,
        value: { value: { dataType: opcua.DataType.Float, value: 7.5 } } });
    const called = await session.call({ objectId: `ns=${index};s=ChillerPlant.Chiller1`, methodId: node("Reset"), inputArguments: [
        { dataType: opcua.DataType.UInt32, value: 4711 }, { dataType: opcua.DataType.Double, value: 6 } ] });
    const subscription = await session.createSubscription2({ requestedPublishingInterval: 50, publishingEnabled: true,
        requestedLifetimeCount: 100, requestedMaxKeepAliveCount: 5, maxNotificationsPerPublish: 100, priority: 1 });
    const item = await subscription.monitor({ nodeId: node("SupplySetpoint"), attributeId: 13 },
        { samplingInterval: 50, queueSize: 10, discardOldest: true }, opcua.TimestampsToReturn.Both);
    const heard = await new Promise((resolve) => item.on("changed", (value) => resolve(value.value.value)));
    console.log(JSON.stringify({
        power: power.value.value, mode: mode_.value.value, gone: gone.statusCode.name, written: written.name,
        called: called.statusCode.name, remaining: called.outputArguments[1].value, heard,
    }));
    await session.close();
    await client.disconnect();
    process.exit(0);
}
main().catch((error) => { console.error(String(error)); process.exit(1); });

// A node-opcua server for our driver: a few variables, a method, all security policies. Prints {"port", "certificate"}.
"use strict";
const opcua = require("node-opcua-server");
const { nodesets } = require("node-opcua-nodesets");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");

async function main() {
    const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
    const manager = new OPCUACertificateManager({ rootFolder: process.argv[2], automaticallyAcceptUnknownCertificate: true });
    await manager.initialize();
    const server = new opcua.OPCUAServer({
        port: 0, hostname: "localhost", resourcePath: "/peer", allowAnonymous: true, serverCertificateManager: manager,
        userManager: { isValidUser: (name, password) => name === "operator" && password === "peer-3" },
        buildInfo: { productName: "PeerPlant", buildNumber: "9", softwareVersion: "3.2.1", manufacturerName: "PeerMaker" },
        serverCapabilities: { operationLimits: { maxNodesPerRead: 40, maxMonitoredItemsPerCall: 30 } },
        nodeset_filename: [nodesets.standard],
    });
    await server.initialize();
    const space = server.engine.addressSpace;
    const own = space.registerNamespace("urn:peer:plant");
    const plant = own.addObject({ organizedBy: space.rootFolder.objects, browseName: "Plant" });
    let counter = 0;
    own.addVariable({ componentOf: plant, browseName: "Counter", nodeId: "s=Counter", dataType: "Int32", minimumSamplingInterval: 20,
        accessLevel: "CurrentRead", userAccessLevel: "CurrentRead",
        value: { get: () => new Variant({ dataType: DataType.Int32, value: counter++ }) } });
    let setpoint = 6.5;
    own.addVariable({ componentOf: plant, browseName: "Setpoint", nodeId: "s=Setpoint", dataType: "Float", minimumSamplingInterval: 20, value: {
        get: () => new Variant({ dataType: DataType.Float, value: setpoint }),
        set: (given) => { setpoint = given.value; return StatusCodes.Good; } } });
    own.addAnalogDataItem({ componentOf: plant, browseName: "Power", nodeId: "s=Power", dataType: "Double", minimumSamplingInterval: 100,
        engineeringUnitsRange: { low: 0, high: 1000 }, engineeringUnits: require("node-opcua-data-access").standardUnits.watt,
        value: { get: () => new Variant({ dataType: DataType.Double, value: 1250.5 }) } });
    own.addVariable({ componentOf: plant, browseName: "Broken", nodeId: "s=Broken", dataType: "Double", minimumSamplingInterval: 100,
        value: { get: () => StatusCodes.BadSensorFailure } });
    own.addVariable({ componentOf: plant, browseName: "Name", nodeId: "s=Name", dataType: "String", minimumSamplingInterval: 100,
        value: { get: () => new Variant({ dataType: DataType.String, value: "Kälte 1" }) } });
    own.addVariable({ componentOf: plant, browseName: "Curve", nodeId: "s=Curve", dataType: "Double", minimumSamplingInterval: 100, valueRank: 1, arrayDimensions: [3],
        value: { get: () => new Variant({ dataType: DataType.Double, arrayType: VariantArrayType.Array, value: new Float64Array([1, 2, 3]) }) } });
    const many = own.addObject({ organizedBy: space.rootFolder.objects, browseName: "Many" });
    for (let n = 0; n < 100; n++) {
        own.addVariable({ componentOf: many, browseName: `V${n}`, nodeId: `s=V${n}`, dataType: "UInt16", minimumSamplingInterval: 100,
            value: { get: () => new Variant({ dataType: DataType.UInt16, value: n }) } });
    }
    const method = own.addMethod(plant, { browseName: "Double", nodeId: "s=Double",
        inputArguments: [{ name: "x", dataType: DataType.Double }], outputArguments: [{ name: "y", dataType: DataType.Double }] });
    method.bindMethod((inputs, context, callback) => callback(null, {
        statusCode: StatusCodes.Good, outputArguments: [{ dataType: DataType.Double, value: 2 * inputs[0].value }] }));
    await server.start();
    const port = server.endpoints[0].port;
    console.log(JSON.stringify({ port, certificate: server.getCertificate().toString("base64") }));
    process.stdin.on("end", async () => { await server.shutdown(0); process.exit(0); }).resume();
}
main().catch((error) => { console.error(error); process.exit(1); });

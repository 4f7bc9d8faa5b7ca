// A real PLC directory (in memory), or a real PDS on a folder of its own, so that it can be killed and started again.
// usage: node hosts.js plc PORT | node hosts.js pds PORT PLC_URL FOLDER
// Prints one line of JSON once it answers.
const { TestPlc, TestPds } = require('@atproto/dev-env');

// Known to everybody, as it signs nothing but identities of test accounts; constant, so that a PDS stays itself.
const ROTATION_KEY = '1'.padStart(64, '0');

async function main([what, port, plcUrl, folder]) {
  if (what === 'plc') {
    const plc = await TestPlc.create({ port: Number(port) });
    console.log(JSON.stringify({ url: plc.url }));
  } else {
    const pds = await TestPds.create({
      port: Number(port),
      hostname: 'localhost',
      didPlcUrl: plcUrl,
      dataDirectory: folder,
      blobstoreDiskLocation: `${folder}/blobs`,
      plcRotationKeyK256PrivateKeyHex: ROTATION_KEY,
      rateLimitsEnabled: false,
    });
    console.log(JSON.stringify({ url: pds.url, admin: pds.adminAuth() }));
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});

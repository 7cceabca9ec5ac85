// agsh/onvif against a camera: connects, reads, takes stream and snapshot addresses, waits for one event. One JSON line.
const { Cam } = require('onvif')
const [, , hostname, port, username, password] = process.argv
const wrong = (error) => { console.log(JSON.stringify({ error: String(error.message || error) })); process.exit(1) }
process.on('uncaughtException', wrong)
const cam = new Cam({ hostname, port: Number(port), username, password, timeout: 8000 }, (error) => {
  if (error) return wrong(error)
  const said = { model: cam.deviceInformation && cam.deviceInformation.model, profiles: cam.profiles.length }
  cam.getDeviceInformation((failed, info) => {
    said.serial = info && info.serialNumber
    cam.getStreamUri({ protocol: 'RTSP' }, (failed, stream) => {
      said.stream = stream && stream.uri
      cam.getSnapshotUri((failed, picture) => {
        said.snapshot = picture && picture.uri
        cam.on('event', (message) => {
          const inner = message.message.message
          if (inner.$.PropertyOperation !== 'Changed') return
          said.topic = message.topic._
          console.log(JSON.stringify(said))
          process.exit(0)
        })
        cam.on('eventsError', (failed) => { said.eventsError = String(failed) })
        console.error('listening')
      })
    })
  })
})

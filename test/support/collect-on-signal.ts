/**
 * Loaded into a server by NODE_OPTIONS=--import: collects garbage when told to by SIGUSR2, so that a test sees what the server
 * keeps, and not what it has not thrown away yet.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
// That flag gives new contexts this function.
const collect = runInNewContext('gc') as () => void
process.on('SIGUSR2', () => collect())

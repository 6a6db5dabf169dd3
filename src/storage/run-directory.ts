/**
 * Where our Unix sockets live. The path of a socket may have 107 bytes (103 on macOS), and a data directory can be deeper
 * than that: then a short directory of this user's stands in, found again by a hash of the data directory. Whoever may
 * enter it may be the database's superuser, so it is 0700, ours, and no symlink, or it is not used.
 */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, mkdtempSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'

// sun_path on macOS is the shortest: 104 bytes with the closing zero
const socketPathBytesMax = 103
const socketNameLongest = '.s.PGSQL.5432.lock'

export function makeRunDirectory(dataDirectory: string, env: NodeJS.ProcessEnv = process.env): string {
  const inside = join(dataDirectory, 'run')
  const outside = shortPlaces(env).map(place => join(place, shortName(dataDirectory)))
  const usable = [inside, ...outside].filter(holdsSockets).find(isPrivateOnceMade)
  return usable ?? mkdtempSync(join('/tmp', 'keyhouse-'))
}

export function holdsSockets(directory: string): boolean {
  return Buffer.byteLength(join(directory, socketNameLongest)) <= socketPathBytesMax
}

function shortPlaces(env: NodeJS.ProcessEnv): string[] {
  const places = [env.XDG_RUNTIME_DIR, tmpdir(), '/tmp']
  return places.filter(place => place !== undefined).filter(isAbsolute)
}

function shortName(dataDirectory: string): string {
  const hash = createHash('sha256').update(realpathSync(dataDirectory)).digest('hex').slice(0, 16)
  return `keyhouse-${process.getuid?.() ?? 0}-${hash}`
}

/** A directory that somebody else put in the way (a shared /tmp), or that cannot be made here, is passed over. */
function isPrivateOnceMade(directory: string): boolean {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch {
    return false
  }
  const made = lstatSync(directory)
  return made.isDirectory() && made.uid === process.getuid?.() && (made.mode & 0o077) === 0
}

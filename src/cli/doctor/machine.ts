/** What can be seen without a server: this Node, the file that leads to the server, the disk. */
import { statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { bytes } from '../amounts.ts'
import type { AccessFile, FoundServer } from '../find-server.ts'
import { type Check, ok, unknown, warning, wrong } from './check.ts'

const nodeLeast = { major: 22, minor: 19 }

export function checkNode(version = process.versions.node): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isOld = major < nodeLeast.major || (major === nodeLeast.major && minor < nodeLeast.minor)
  return isOld ? wrong('node', `Node ${version} is too old`, 'Install Node 24.') : ok('node', `Node ${version}`)
}

/** Whoever can read cli.json is an admin. */
export function checkAccessFile({ path, missing }: AccessFile): Check {
  if (missing !== undefined) return { ...unknown('cli.json'), proof: `${path}: ${missing}` }
  const others = statSync(path).mode & 0o077
  if (others === 0) return ok('cli.json', `${path}, readable by its owner only`)
  return wrong('cli.json', `${path} can be read by other users`, `chmod 600 '${path}', then restart the server.`)
}

const freeBytesLeast = 1e9
const freeBytesWanted = 5e9

export async function checkDisk({ url }: FoundServer, dataDir: string): Promise<Check> {
  const free = isHere(url) ? await freeBytes(dataDir) : undefined
  if (free === undefined) return unknown('disk')
  const proof = `${bytes(free)} free for ${dataDir}`
  const mend = 'Free space, or move the data directory: when the disk is full, calls are refused.'
  if (free < freeBytesLeast) return wrong('disk', proof, mend)
  return free < freeBytesWanted ? warning('disk', proof, mend) : ok('disk', proof)
}

/** A path on another machine's disk says nothing about ours. */
const isHere = (url: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(url).hostname)

/** Of the nearest folder that exists: before the first start, the data directory does not. */
async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(path)
    return bavail * bsize
  } catch {
    return path === dirname(path) ? undefined : freeBytes(dirname(path))
  }
}

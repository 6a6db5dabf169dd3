/** Which node this is: the name that its leases bear, the same after every restart on one node's folder. */
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const fileIn = (folder: string): string => join(folder, 'node-id')

export async function nodeId(folder: string): Promise<string> {
  const known = await knownNodeId(folder)
  if (known !== undefined) return known
  const made = randomUUID()
  await writeFile(fileIn(folder), `${made}\n`, { mode: 0o600, flush: true })
  return made
}

/** Undefined where no node has run yet. */
export async function knownNodeId(folder: string): Promise<string | undefined> {
  const text = await readFile(fileIn(folder), 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text.trim() || undefined
}

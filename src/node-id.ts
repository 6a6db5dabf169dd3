/** Which node this is: the name that its leases bear, the same after every restart on one data directory. */
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export async function nodeId(dataDir: string): Promise<string> {
  const file = join(dataDir, 'node-id')
  const known = await readFile(file, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  if (known.trim() !== '') return known.trim()
  const made = randomUUID()
  await writeFile(file, `${made}\n`, { mode: 0o600, flush: true })
  return made
}

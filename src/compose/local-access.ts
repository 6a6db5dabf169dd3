/** The CLI's way in on this machine. */
import { join } from 'node:path'
import { mintLocalAccess } from '#platform/local-access.ts'
import type { Storage } from './storage.ts'

export type LocalAccess = {
  begin(url: string, mint: boolean): Promise<void>
  renew(): Promise<void>
  end(): Promise<void>
}

/** The CLI's key on this machine, made anew at each start, and once more when a backup took its place. */
export function keepLocalAccess({ database, secrets, directory }: Storage): LocalAccess {
  const file = join(directory.path, 'cli.json')
  let address = ''
  let access: { revoke(): Promise<void> } | undefined
  const renew = async (): Promise<void> => {
    access = await mintLocalAccess({ database, secrets, file, url: address })
  }
  return {
    async begin(url, mint) {
      address = url
      if (mint) await renew()
    },
    renew,
    end: async () => access?.revoke(),
  }
}

/** What no call runs into until it is too late: looked at before the server listens, and then every half minute. */
import { X509Certificate } from 'node:crypto'
import { readdir, readFile, statfs } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { readTlsFiles } from '#src/client-certificates.ts'
import { longTransaction } from '#storage/open-transactions.ts'
import { livingKeysBySecrets } from '#storage/other-secrets.ts'
import { isDatabaseAway } from '#storage/unavailable.ts'
import { type Base, wallClock } from './base.ts'
import type { Storage } from './storage.ts'

const everyMs = 30_000
/** Room for a while of usage and a few segments of the journal. */
const freeBytesLeast = 1e9
const descriptorsShareMax = 0.9
const transactionSecondsMax = 600
const certificateMsLeast = 14 * 86_400_000

export async function lookAround(base: Base, storage: Storage): Promise<void> {
  const looks = [
    diskOf(base, storage),
    descriptorsOf(base),
    certificateOf(base),
    secretsOf(base, storage),
    transactionsOf(base, storage),
  ]
  const lookAtAll = async (): Promise<void> => {
    for (const look of looks) {
      // That it is away is said by those who cannot wait for the next round
      await look().catch(error => {
        if (!isDatabaseAway(error)) base.onError('the node could not look at itself', error)
      })
    }
  }
  await lookAtAll()
  const stopping = new AbortController()
  const goOn = async (): Promise<void> => {
    while (await sleep(everyMs, true, { signal: stopping.signal, ref: false }).catch(() => false)) await lookAtAll()
  }
  void goOn()
  base.closing.add('looking around', () => stopping.abort())
}

type Look = () => Promise<void>

function diskOf({ troubles }: Base, { directory }: Storage): Look {
  const low = troubles.of('disk_low')
  return async () => {
    const { bavail, bsize } = await statfs(directory.path)
    const free = bavail * bsize
    if (free < freeBytesLeast) low.began(`${Math.round(free / 1e6)} MB are free for ${directory.path}`)
    else low.over()
  }
}

/** Where the system does not tell, they are not looked at. */
function descriptorsOf({ troubles }: Base): Look {
  const low = troubles.of('descriptors_low')
  return async () => {
    try {
      const limits = await readFile('/proc/self/limits', 'utf8')
      const most = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
      const open = (await readdir('/proc/self/fd')).length
      if (open > most * descriptorsShareMax) low.began(`${open} of ${most} are open`)
      else low.over()
    } catch (error) {
      if (/^(EMFILE|ENFILE)$/.test((error as NodeJS.ErrnoException).code ?? '')) low.began(error)
    }
  }
}

/** The files are read at the start only, so the one in use is that of the start. */
function certificateOf({ config, troubles }: Base): Look {
  const tls = readTlsFiles(config)
  const ending = troubles.of('certificate_ending')
  const endsAt = tls && new X509Certificate(tls.cert).validToDate
  return async () => {
    if (endsAt && endsAt.getTime() - wallClock() < certificateMsLeast)
      ending.began(`it ends at ${endsAt.toISOString()}`)
  }
}

/** What a node has changes with a restore at most, which brings the secrets along: once they agree, they do. */
function secretsOf({ troubles }: Base, { database, secrets }: Storage): Look {
  const differ = troubles.of('secrets_differ')
  let doAgree = false
  return async () => {
    if (doAgree) return
    const { own, others } = await livingKeysBySecrets(database, secrets)
    doAgree = others <= own
    if (doAgree) differ.over()
    else differ.began(`${others} living keys are of other secrets, ${own} of these`)
  }
}

function transactionsOf({ troubles }: Base, { database }: Storage): Look {
  const open = troubles.of('transaction_open')
  return async () => {
    const found = await longTransaction(database, transactionSecondsMax)
    if (found)
      open.began(`pid ${found.pid} (${found.application || 'no application name'}), open for ${found.seconds} s`)
    else open.over()
  }
}

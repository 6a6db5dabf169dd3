/** What has been opened, to be closed in reverse order. One that fails is reported, and does not keep the rest open. */
import { within } from '#core/within.ts'

export type Closers = {
  /** @param msMax how long it is waited for, where it waits for somebody else */
  add(name: string, close: () => Promise<void> | void, msMax?: number): void
  closeAll(): Promise<void>
}

type Part = { readonly name: string; readonly close: () => Promise<void> | void; readonly msMax: number | undefined }

/** Where one part waited in vain, those that wait for somebody else are hardly waited for any more. */
const afterLateMs = 500

export function closers(onError: (details: { part: string; err: unknown }, message: string) => void): Closers {
  const open: Part[] = []
  let isLate = false
  const close = async ({ close, msMax }: Part): Promise<void> => {
    if (msMax === undefined) return close()
    const ms = isLate ? Math.min(msMax, afterLateMs) : msMax
    const beganAtMs = performance.now()
    await within(ms, Promise.resolve(close())).finally(() => {
      if (performance.now() - beganAtMs >= ms) isLate = true
    })
  }
  return {
    add: (name, close, msMax) => void open.push({ name, close, msMax }),
    async closeAll() {
      for (let part = open.pop(); part; part = open.pop()) {
        try {
          await close(part)
        } catch (error) {
          onError({ part: part.name, err: error }, 'a part could not be closed')
        }
      }
    },
  }
}

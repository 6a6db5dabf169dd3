/** What has been opened, to be closed in reverse order. One that fails is reported, and does not keep the rest open. */

export type Closers = {
  add(name: string, close: () => Promise<void> | void): void
  closeAll(): Promise<void>
}

export function closers(onError: (details: { part: string; err: unknown }, message: string) => void): Closers {
  const open: { name: string; close: () => Promise<void> | void }[] = []
  return {
    add: (name, close) => void open.push({ name, close }),
    async closeAll() {
      for (let part = open.pop(); part; part = open.pop()) {
        try {
          await part.close()
        } catch (error) {
          onError({ part: part.name, err: error }, 'a part could not be closed')
        }
      }
    },
  }
}

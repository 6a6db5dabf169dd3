/** The catalogue that calls read: replaced whole when something changed, never touched in place. */
import type { Trouble } from '#contract/troubles.ts'
import { type Catalogue, emptyCatalogue } from '#core/catalogue.ts'

export type CatalogueSnapshot = {
  current(): Catalogue
  /** Reads again; while a read is under way one more follows it, so that the last change is always seen. */
  reload(): Promise<void>
  /** When no read is under way any more. */
  settled(): Promise<void>
  stop(): void
}

const retryMs = 1000

export function catalogueSnapshot(read: () => Promise<Catalogue>, unread: Trouble): CatalogueSnapshot {
  let catalogue = emptyCatalogue
  let reading: Promise<void> | undefined
  let again = false
  let retry: NodeJS.Timeout | undefined

  const readAll = async (): Promise<void> => {
    do {
      again = false
      catalogue = await read()
    } while (again)
    unread.over()
  }
  const reload = (): Promise<void> => {
    clearTimeout(retry)
    again = true
    reading ??= readAll()
      .catch(error => {
        unread.began(error)
        retry = setTimeout(() => void reload(), retryMs)
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }
  return {
    current: () => catalogue,
    reload,
    settled: async () => reading,
    stop: () => clearTimeout(retry),
  }
}

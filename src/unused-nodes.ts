/**
 * Nodes of this installation that run no more, because there are fewer workers now or more than one where there was one: what
 * they wrote down but did not deliver, and what they had reserved, would else wait for ever.
 */
import { join } from 'node:path'
import { knownNodeId } from '#src/node-id.ts'
import { unusedNodes } from '#storage/data-directory.ts'
import { lockDirectory } from '#storage/directory-lock.ts'
import type { Journal } from '#storage/journal.ts'

type Reconcile = (journal: Journal, node: string) => Promise<void>

export async function takeUpUnusedNodes(
  path: string,
  workers: number,
  openJournal: (folder: string) => Promise<Journal>,
  reconcile: Reconcile,
): Promise<void> {
  for (const folder of await unusedNodes(path, workers)) {
    // Whoever takes up has locked the data directory itself, or its primary has.
    const lock = folder === path ? undefined : lockDirectory(folder)
    try {
      await takeUp(folder, openJournal, reconcile)
    } finally {
      lock?.release()
    }
  }
}

async function takeUp(
  folder: string,
  openJournal: (folder: string) => Promise<Journal>,
  reconcile: Reconcile,
): Promise<void> {
  const node = await knownNodeId(folder)
  if (node === undefined) return
  const journal = await openJournal(join(folder, 'journal'))
  try {
    await reconcile(journal, node)
  } finally {
    await journal.close()
  }
}

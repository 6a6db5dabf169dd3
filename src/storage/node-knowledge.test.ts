import { expect, test } from 'vitest'
import { NodeKnowledge } from './node-knowledge.ts'

test('what came back of a limit that was forgotten makes nothing of what is given out later untold', () => {
  const knowledge = new NodeKnowledge()
  const limit = { counter: 'c', limit: 100, periodMs: 60_000 }
  knowledge.remember(limit, 0)
  knowledge.given.set('c', 1_000, 0)
  knowledge.gave(limit, -50)
  knowledge.gave(limit, 50)
  expect(knowledge.told(() => 50, 0)).toMatchObject([{ counter: 'c', amount: 50 }])
  knowledge.gave(limit, -20)
  expect(knowledge.told(() => 50, 0)).toMatchObject([{ amount: 30 }])
})

import type { Behaviour } from './behaviour.ts'

/**
 * The models that a test key can call: one row each, like the test cards of a payment provider, so that a developer can
 * rehearse every failure before it happens. Adding one is adding a row.
 */

/** Every name begins so. A name with this prefix that is not in the table is refused; any other name behaves plainly. */
export const fakeModelPrefix = 'keyhouse-test-'

export interface FakeModel {
  /** Which endpoints answer for it; faults that leave no answer (`status`, `reset`, `hang`) happen on all of them. */
  readonly kind: 'chat' | 'embedding'
  /** One sentence for lists and docs. */
  readonly description: string
  readonly behaviour: Partial<Behaviour>
}

export const fakeModels = {
  'keyhouse-test-chat': {
    kind: 'chat',
    description: 'Answers at once and repeats what you said.',
    behaviour: {},
  },
  'keyhouse-test-embedding': {
    kind: 'embedding',
    description: 'Answers at once with a unit vector that depends on the input only.',
    behaviour: {},
  },
  'keyhouse-test-slow': {
    kind: 'chat',
    description: 'Waits two seconds before its first byte.',
    behaviour: { latencyMs: 2_000 },
  },
  'keyhouse-test-long': {
    kind: 'chat',
    description: 'Says 500 tokens, streamed 20 milliseconds apart.',
    behaviour: { outputTokens: 500, chunkIntervalMs: 20 },
  },
  'keyhouse-test-reasoning': {
    kind: 'chat',
    description: 'Reports 64 reasoning tokens besides what it shows.',
    behaviour: { reasoningTokens: 64 },
  },
  'keyhouse-test-cached': {
    kind: 'chat',
    description: 'Reports 1,024 prompt tokens, 1,000 of them read from the cache.',
    behaviour: { promptTokens: 1_024, cachedTokens: 1_000 },
  },
  'keyhouse-test-no-usage': {
    kind: 'chat',
    description: 'Never says what was used, so that usage has to be estimated.',
    behaviour: { usageShape: 'absent' },
  },
  'keyhouse-test-content-filter': {
    kind: 'chat',
    description: 'Stops after five tokens with the finish reason content_filter.',
    behaviour: { outputTokens: 5, finishReason: 'content_filter' },
  },
  'keyhouse-test-error-400': {
    kind: 'chat',
    description: 'Refuses every request as invalid (400).',
    behaviour: { fault: 'status', status: 400 },
  },
  'keyhouse-test-error-401': {
    kind: 'chat',
    description: 'Refuses the credential that the provider is called with (401).',
    behaviour: { fault: 'status', status: 401 },
  },
  'keyhouse-test-error-429': {
    kind: 'chat',
    description: 'Is over its rate limit (429) and asks to retry after one second.',
    behaviour: { fault: 'status', status: 429, retryAfterSeconds: 1 },
  },
  'keyhouse-test-error-500': {
    kind: 'chat',
    description: 'Fails on every request (500).',
    behaviour: { fault: 'status', status: 500 },
  },
  'keyhouse-test-error-503': {
    kind: 'chat',
    description: 'Is overloaded (503).',
    behaviour: { fault: 'status', status: 503 },
  },
  'keyhouse-test-timeout': {
    kind: 'chat',
    description: 'Never answers.',
    behaviour: { fault: 'hang' },
  },
  'keyhouse-test-reset': {
    kind: 'chat',
    description: 'Closes the connection before any header.',
    behaviour: { fault: 'reset' },
  },
  'keyhouse-test-cut': {
    kind: 'chat',
    description: 'Closes the connection in the middle of the answer.',
    behaviour: { fault: 'cut' },
  },
  'keyhouse-test-truncated': {
    kind: 'chat',
    description: 'Ends the answer half way as if it were complete, without finish reason and without [DONE].',
    behaviour: { fault: 'truncate' },
  },
  'keyhouse-test-malformed': {
    kind: 'chat',
    description: 'Answers 200 with something that is not JSON.',
    behaviour: { fault: 'malformed' },
  },
} as const satisfies Record<`${typeof fakeModelPrefix}${string}`, FakeModel>

/** The row of a model, or undefined when the name is not in the table. */
export function findFakeModel(name: string): FakeModel | undefined {
  return rows.get(name)
}

const rows = new Map<string, FakeModel>(Object.entries(fakeModels))

/** Keys that were found where everybody can read them. Whoever holds one can hand it in; GitHub does so by itself. */
import { z } from 'zod'
import type { Endpoints } from './endpoint.ts'

const keyCharactersMax = 500
const urlCharactersMax = 2_000
const sourceCharactersMax = 100
/** More matches than fit into a body that we take. */
const matchesMax = 20_000

const oneLine = (charactersMax: number) =>
  z
    .string()
    .max(charactersMax)
    .regex(/^\P{Cc}*$/u, 'expected one line of text')

/** What a machine sends in one batch is mended and not refused: one odd match must not save all the others. */
const mended = (charactersMax: number) =>
  z
    .string()
    .default('')
    .transform(text => text.replaceAll(/\p{Cc}+/gu, ' ').slice(0, charactersMax))

const match = z.looseObject({
  token: z.string(),
  type: z.string().default(''),
  url: mended(urlCharactersMax).describe('Where it was found; may be empty.'),
  source: mended(sourceCharactersMax).describe('In what kind of thing: content, commit, npm …'),
})

export const leakMatches = z.array(match).min(1).max(matchesMax).meta({ id: 'LeakMatches' })

export const leaks = {
  report: {
    method: 'POST',
    path: '/v1/leaks',
    summary: 'Hand in a key that was found. A living one is disabled within a second, and its organization told.',
    scope: null,
    body: z.strictObject({
      key: z.string().min(1).max(keyCharactersMax),
      url: oneLine(urlCharactersMax).optional().describe('Where it was found.'),
      source: oneLine(sourceCharactersMax).optional().describe('By whom, or in what.'),
    }),
    answer: z
      .object({ matched: z.boolean().describe('Whether it is a key of this Keyhouse.') })
      .meta({ id: 'LeakReport' }),
  },
  github: {
    method: 'POST',
    path: '/v1/leaks/github',
    summary: "Take matches from GitHub's secret scanning, signed by GitHub.",
    scope: null,
    rawBody: true,
    body: leakMatches,
    answer: z
      .array(
        z.object({
          token_hash: z.string().describe('SHA-256 of the token, in hexadecimal digits.'),
          token_type: z.string(),
          label: z.enum(['true_positive', 'false_positive']),
        }),
      )
      .meta({ id: 'LeakFeedback' }),
  },
} as const satisfies Endpoints

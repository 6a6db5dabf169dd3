/** Reading streams of server-sent events the way a test wants them: all of it, or up to a point. */

/** The whole text of an answer; whatever broke it off is told beside it. */
export async function readAll(response: Response): Promise<{ text: string; broken: unknown }> {
  const chunks: Uint8Array[] = []
  let broken: unknown
  try {
    for await (const chunk of response.body ?? []) chunks.push(chunk)
  } catch (error) {
    broken = error
  }
  return { text: Buffer.concat(chunks).toString('utf8'), broken }
}

/** The data of each event, as text. */
export const dataOf = (text: string): string[] =>
  text
    .split(/\r?\n\r?\n/)
    .filter(event => event.startsWith('data:'))
    .map(event => event.slice('data:'.length).trim())

/** What has come of a stream, without the event that is still on its way. */
export const wholeEvents = (text: string): string => text.slice(0, text.lastIndexOf('\n\n') + 2)

/** Each event but `[DONE]`, parsed. */
export const eventsOf = (text: string): ChunkObject[] =>
  dataOf(text)
    .filter(data => data !== '[DONE]')
    // Every field is optional, and each test checks those that it reads.
    .map(data => JSON.parse(data) as ChunkObject)

export type ChunkObject = {
  readonly choices?: readonly {
    readonly delta?: { readonly content?: string }
    readonly finish_reason?: string | null
  }[]
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null
  readonly error?: { readonly message: string; readonly code: string | null }
}

/** Reads until `enough` says so of the text so far, then leaves as a client does that closes its window. */
export async function readUntil(response: Response, enough: (text: string) => boolean): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    if (enough(text)) break
  }
  return text
}

/** Newline-delimited JSON, as it comes in pieces that end anywhere. */

const lineCharactersMax = 1_000_000

export async function* readLines<Line>(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > lineCharactersMax)
      throw new Error(`The server sent a line of more than ${lineCharactersMax} characters.`)
    // Our own server writes these lines; wire.ts says how they look.
    for (const line of lines.filter(text => text.trim() !== '')) yield JSON.parse(line) as Line
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as Line
}

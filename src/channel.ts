/** Questions and answers between two processes over Node's own channel: each side answers by a table, each asks with a deadline. */
export type Port = {
  send(message: Message): void
  onMessage(listener: (message: unknown) => void): void
}

type Message =
  | { readonly kind: 'question'; readonly number: number; readonly name: string; readonly about: unknown }
  | { readonly kind: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly kind: 'refusal'; readonly number: number; readonly reason: string }

/** What comes and goes must be plain data: it travels as JSON. */
export type Answers = Readonly<Record<string, (about: unknown) => Promise<unknown>>>

type Pending = { answer(value: unknown): void; refuse(error: Error): void }

export class Channel {
  readonly #port: Port
  readonly #answers: Answers
  readonly #pending = new Map<number, Pending>()
  #asked = 0
  #closed: Error | undefined

  constructor(port: Port, answers: Answers) {
    this.#port = port
    this.#answers = answers
    // Both ends are this program's own, so what comes is a Message.
    port.onMessage(message => this.#take(message as Message))
  }

  /** @throws Error with the other side's sentence, or when it takes too long or has ended */
  async ask(name: string, about: unknown, timeoutMs: number): Promise<unknown> {
    if (this.#closed) throw this.#closed
    this.#asked += 1
    const number = this.#asked
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((answer, refuse) => {
        timer = setTimeout(() => refuse(new Error(`"${name}" was not answered within ${timeoutMs} ms`)), timeoutMs)
        this.#pending.set(number, { answer, refuse })
        this.#port.send({ kind: 'question', number, name, about })
      })
    } finally {
      clearTimeout(timer)
      this.#pending.delete(number)
    }
  }

  /** The other side has ended: nothing more will be answered. */
  close(reason: Error): void {
    this.#closed = reason
    for (const { refuse } of this.#pending.values()) refuse(reason)
  }

  #take(message: Message): void {
    if (message.kind === 'question') void this.#answer(message.number, message.name, message.about)
    if (message.kind === 'answer') this.#pending.get(message.number)?.answer(message.answer)
    if (message.kind === 'refusal') this.#pending.get(message.number)?.refuse(new Error(message.reason))
  }

  async #answer(number: number, name: string, about: unknown): Promise<void> {
    try {
      const answers = this.#answers[name]
      if (!answers) throw new Error(`nobody here knows how to answer "${name}"`)
      this.#port.send({ kind: 'answer', number, answer: await answers(about) })
    } catch (error) {
      this.#port.send({ kind: 'refusal', number, reason: error instanceof Error ? error.message : String(error) })
    }
  }
}

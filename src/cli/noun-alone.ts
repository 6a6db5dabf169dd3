/**
 * A noun without a verb shows what there is: its `show` where that needs no more words, else its `list`, else its `show` with
 * the words that it needs, else its only verb. One rule for all of them, so that no noun has to say it, and a mistyped verb
 * is still told from a word that a verb takes. A command with options of its own does something itself.
 */
import type { Command } from 'commander'

/** The words with the verb that a noun alone stands for. */
export function withVerb(program: Command, words: readonly string[]): string[] {
  const at = words.findIndex(word => named(program, word) !== undefined)
  return at < 0 ? [...words] : [...words.slice(0, at + 1), ...completed(named(program, words[at]), words.slice(at + 1))]
}

/** So that --help says what the noun alone does. */
export function tellVerbs(command: Command): void {
  const alone = isNoun(command) ? verbOf(command) : undefined
  if (alone) command.addHelpText('after', `\nWithout a command: ${alone.name()}.`)
  command.commands.forEach(tellVerbs)
}

export const isNoun = ({ commands, options }: Command): boolean => commands.length > 0 && options.length === 0

function completed(noun: Command | undefined, rest: readonly string[]): string[] {
  if (noun === undefined || !isNoun(noun)) return [...rest]
  const verb = named(noun, rest[0])
  if (verb) return [verb.name(), ...completed(verb, rest.slice(1))]
  const alone = verbOf(noun)
  if (alone === undefined || !isMeant(noun, alone, rest)) return [...rest]
  return [alone.name(), ...rest]
}

/** Not where help is asked for, a verb comes later, or the word can only be a verb that there is not. */
function isMeant(noun: Command, alone: Command, rest: readonly string[]): boolean {
  if (rest.some(word => /^(-h|--help|help)$/.test(word) || named(noun, word) !== undefined)) return false
  const [first = '-'] = rest
  return first.startsWith('-') || alone.registeredArguments.length > 0
}

/** Undefined where the rule names none. */
export function verbOf({ commands }: Command): Command | undefined {
  const [show, list] = ['show', 'list'].map(name => commands.find(command => command.name() === name))
  if (show && !asksForMore(show)) return show
  return list ?? show ?? (commands.length === 1 ? commands[0] : undefined)
}

const asksForMore = ({ registeredArguments }: Command): boolean => registeredArguments.some(({ required }) => required)

const named = (command: Command, word: string | undefined): Command | undefined =>
  command.commands.find(one => one.name() === word)

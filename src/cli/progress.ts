/** Progress of anything that takes seconds: a bar that redraws itself on a terminal, a plain line now and then elsewhere. */
import { stripVTControlCharacters } from 'node:util'
import { bytes } from './amounts.ts'
import { note, safeText, style, type Terminal } from './terminal.ts'

export type Step = { readonly part: string; readonly bytesDone: number; readonly bytesTotal: number | null }

export type Progress = {
  show(step: Step): void
  /** Takes the bar away, so that the next line begins at the margin. */
  end(): void
}

export const startProgress = (terminal: Terminal): Progress =>
  terminal.stderr.isTTY === true && terminal.env.TERM !== 'dumb' ? drawnBar(terminal) : plainLines(terminal)

const redrawMs = 100
const barWidth = 24
const eraseLine = '\r\x1b[2K'

function drawnBar(terminal: Terminal): Progress {
  const { stderr, now } = terminal
  const rate = rateMeter(now)
  let drawnAtMs = 0
  return {
    show(step) {
      const perSecond = rate(step)
      const isWhole = step.bytesTotal !== null && step.bytesDone >= step.bytesTotal
      if (now() - drawnAtMs < redrawMs && !isWhole) return
      drawnAtMs = now()
      stderr.write(eraseLine + cut(describe(step, perSecond, bar(terminal, step)), (stderr.columns ?? 80) - 1))
    },
    end: () => void stderr.write(eraseLine),
  }
}

const percentOf = ({ bytesDone, bytesTotal }: Step): number | null =>
  bytesTotal ? Math.min(100, Math.floor((100 * bytesDone) / bytesTotal)) : null

function bar(terminal: Terminal, step: Step): string {
  const percent = percentOf(step)
  if (percent === null) return ''
  const filled = Math.round((barWidth * percent) / 100)
  const [done, left] = ['█'.repeat(filled), '░'.repeat(barWidth - filled)]
  return `${style(terminal, 'green', done, terminal.stderr)}${left}`
}

function describe(step: Step, perSecond: number | null, drawn = ''): string {
  const percent = percentOf(step)
  const amount = step.bytesTotal ? `${bytes(step.bytesDone)} of ${bytes(step.bytesTotal)}` : bytes(step.bytesDone)
  const speed = perSecond === null ? '' : `${bytes(perSecond)}/s`
  const share = percent === null ? '' : `${percent} %`
  return [safeText(step.part), drawn, share, amount, speed].filter(part => part !== '').join('  ')
}

/** A line that wraps cannot be redrawn: a narrow terminal gets it without the bar, and cut. */
function cut(text: string, width: number): string {
  const plain = stripVTControlCharacters(text)
  return plain.length <= width ? text : plain.replace(/[█░]+ {2}/, '').slice(0, Math.max(0, width))
}

const plainEveryMs = 10_000
const plainEveryPercent = 10

function plainLines(terminal: Terminal): Progress {
  let last = { part: '', percent: -plainEveryPercent, atMs: terminal.now() }
  const isNews = (step: Step): boolean =>
    // The first bytes of nobody knows how many say nothing
    (step.part !== last.part && step.bytesTotal !== null) ||
    (percentOf(step) ?? 0) >= last.percent + plainEveryPercent ||
    terminal.now() - last.atMs >= plainEveryMs
  return {
    show(step) {
      if (!isNews(step)) return
      last = { part: step.part, percent: percentOf(step) ?? 0, atMs: terminal.now() }
      note(terminal, describe(step, null))
    },
    end: () => undefined,
  }
}

const rateOverMs = 1_000

/** Bytes per second of the part in hand, over its last second or so. */
function rateMeter(now: () => number): (step: Step) => number | null {
  let mark = { part: '', bytes: 0, atMs: 0 }
  let perSecond: number | null = null
  return ({ part, bytesDone }) => {
    const elapsedMs = now() - mark.atMs
    if (part !== mark.part) perSecond = null
    else if (elapsedMs < rateOverMs) return perSecond
    else perSecond = Math.max(0, ((bytesDone - mark.bytes) * 1000) / elapsedMs)
    mark = { part, bytes: bytesDone, atMs: now() }
    return perSecond
  }
}

import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { type Answers, Channel, type Port } from './channel.ts'

/** Two ends that pass messages on as JSON, as processes do. */
function ends(): [Port, Port] {
  const [left, right] = [new EventEmitter(), new EventEmitter()]
  const port = (own: EventEmitter, other: EventEmitter): Port => ({
    send: message => void setImmediate(() => other.emit('message', JSON.parse(JSON.stringify(message)))),
    onMessage: listener => void own.on('message', listener),
  })
  return [port(left, right), port(right, left)]
}

function pair(answers: Answers): Channel {
  const [here, there] = ends()
  new Channel(there, answers)
  return new Channel(here, {})
}

test('questions that cross get each its own answer', async () => {
  const channel = pair({
    double: async about => Number(about) * 2,
    slow: about => new Promise(resolve => setTimeout(resolve, 20, about)),
  })
  const asked = [channel.ask('slow', 'a', 1_000), channel.ask('double', 2, 1_000), channel.ask('slow', 'b', 1_000)]
  expect(await Promise.all(asked)).toEqual(['a', 4, 'b'])
})

test('what the other side throws is thrown here, with its sentence', async () => {
  const channel = pair({ fail: () => Promise.reject(new Error('no port is free')) })
  await expect(channel.ask('fail', undefined, 1_000)).rejects.toThrow('no port is free')
})

test('a question that nobody knows is refused', async () => {
  await expect(pair({}).ask('what', undefined, 1_000)).rejects.toThrow('"what"')
})

test('a question ends at its deadline, and when the other side has ended', async () => {
  const channel = pair({ never: () => new Promise(() => undefined) })
  await expect(channel.ask('never', undefined, 20)).rejects.toThrow('within 20 ms')
  const asked = channel.ask('never', undefined, 1_000)
  channel.close(new Error('worker 2 ended'))
  await expect(asked).rejects.toThrow('worker 2 ended')
  await expect(channel.ask('never', undefined, 1_000)).rejects.toThrow('worker 2 ended')
})

import { type DueRotation, findDueRotations, keepReminder } from '#storage/due-rotations.ts'
import { ownerAddresses } from '#storage/mails.ts'
import { queueMail } from '../mail/queue-mail.ts'
import type { Job, JobParts } from './job.ts'

/** Days before the rotation is due on which its owner is told; 0 is when it is. */
const steps = [7, 3, 1, 0]
/** In one run; the rest comes in the next one. */
const remindersMax = 500

export const remindOfRotations: Job = {
  about: 'Reminds the owners of keys that are to be rotated: 7, 3 and 1 days before, and when it is due.',
  cron: '7 * * * *',
  async run(parts) {
    const due = await findDueRotations(parts.database, steps, remindersMax)
    let sent = 0
    for (const rotation of due) if (await remind(parts, rotation)) sent += 1
    return sent === 0 ? null : `${sent} reminders`
  },
}

/** To the key's owner; of a machine's key to the organization's owners. */
const remind = ({ database }: JobParts, rotation: DueRotation): Promise<boolean> =>
  database.transaction(async tx => {
    if (!(await keepReminder(tx, rotation))) return false
    const { organization_id: organizationId, owner_email: owner } = rotation
    await queueMail(tx, 'rotation_due', {
      organizationId,
      to: owner === null ? await ownerAddresses(tx, organizationId) : [owner],
      about: {
        keyId: rotation.id,
        name: rotation.name,
        redacted: rotation.redacted,
        project: rotation.project_name,
        dueOn: rotation.due_at.toISOString().slice(0, 10),
        days: rotation.days_before,
      },
    })
    return true
  })

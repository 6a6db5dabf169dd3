/** What the audit log is told of a change. */

export type AuditEntry = {
  /** One of OpenAI's event types; what has none of its own is an `organization.updated` that says what changed. */
  readonly type: AuditEventType
  readonly project?: { readonly id: string; readonly name: string } | null
  readonly resourceId: string
  /** What OpenAI puts under the type's name beside the id: `data`, `changes_requested`. Never a secret. */
  readonly detail?: Readonly<Record<string, unknown>>
}

export type AuditEventType =
  | `api_key.${'created' | 'updated' | 'deleted'}`
  | `certificate.${'created' | 'updated' | 'deleted'}`
  | `certificates.${'activated' | 'deactivated'}`
  | `group.${'created' | 'updated' | 'deleted'}`
  | `invite.${'sent' | 'accepted' | 'deleted'}`
  | `ip_allowlist.${'created' | 'updated' | 'deleted'}`
  | `project.${'created' | 'updated' | 'archived'}`
  | `rate_limit.${'updated' | 'deleted'}`
  | `role.${'created' | 'updated' | 'deleted'}`
  | `role.assignment.${'created' | 'deleted'}`
  | `service_account.${'created' | 'updated' | 'deleted'}`
  | `user.${'added' | 'updated' | 'deleted'}`
  | 'organization.updated'

-- A custom role that was named as the role of a membership goes when the membership is given another one. What was assigned
-- besides stays until it is taken.
alter table role_assignments add column of_membership boolean not null default false;

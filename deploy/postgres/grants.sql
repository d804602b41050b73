-- Two roles for the worklist's database: one owns the tables and migrates, the other is what the agent runs as.
--
-- docs/operations.md has all of it in order:
--   createdb triage, psql --dbname=triage --file=deploy/postgres/grants.sql     as a superuser
--   triage-agent db upgrade                               with a url that names triage_owner, at every new version
--   psql --dbname=triage --file=deploy/postgres/grants.sql                      again, after each: takes away what is too much
--   triage-agent serve ...                                with a url that names triage_agent
--
-- The agent reads, inserts and updates. It makes no table, deletes nothing, and changes no audit event and no feedback. Passwords or
-- certificates are given to the roles as the site does it (ALTER ROLE ... PASSWORD, pg_hba.conf).

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'triage_owner') THEN CREATE ROLE triage_owner LOGIN; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'triage_agent') THEN CREATE ROLE triage_agent LOGIN; END IF;
END $$;

GRANT USAGE, CREATE ON SCHEMA public TO triage_owner;
GRANT USAGE ON SCHEMA public TO triage_agent;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- What triage_owner makes from now on, also at later versions ...
ALTER DEFAULT PRIVILEGES FOR ROLE triage_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE ON TABLES TO triage_agent;
ALTER DEFAULT PRIVILEGES FOR ROLE triage_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO triage_agent;
-- ... and what is there already.
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO triage_agent;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO triage_agent;

-- Run the file again after the first `db upgrade`: these tables are there then. (Triggers refuse a change of an audit
-- event or of its seal whoever asks for it; the agent need not even be allowed to ask.)
DO $$
BEGIN
    IF to_regclass('public.audit_events') IS NOT NULL THEN REVOKE UPDATE ON audit_events FROM triage_agent; END IF;
    IF to_regclass('public.audit_seals') IS NOT NULL THEN REVOKE UPDATE ON audit_seals FROM triage_agent; END IF;
    IF to_regclass('public.feedback') IS NOT NULL THEN REVOKE UPDATE ON feedback FROM triage_agent; END IF;
    IF to_regclass('public.alembic_version') IS NOT NULL THEN
        REVOKE INSERT, UPDATE ON alembic_version FROM triage_agent;
    END IF;
END $$;

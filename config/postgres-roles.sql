-- Three roles for a store at a PostgreSQL server, for who administers it. In the store's own database:
--   createdb --encoding UTF8 restarts && psql -v ON_ERROR_STOP=1 -d restarts -f postgres-roles.sql
-- Then, as its owner, once for each version:  ecsbatch store upgrade --store postgresql://ecsbatch_owner@.../restarts
-- Passwords are typed to psql, so that nobody logs them:  \password ecsbatch_run

-- Makes and upgrades the tables; nobody restarts anything as this one.
CREATE ROLE ecsbatch_owner LOGIN;
-- Reads and writes rows: who restarts, resumes and steers, `work`, a service. It can change no table.
CREATE ROLE ecsbatch_run LOGIN;
-- Reads rows: status, report, explain, audit, runs, watch.
CREATE ROLE ecsbatch_read LOGIN;
ALTER ROLE ecsbatch_read SET default_transaction_read_only = on;

CREATE SCHEMA ecsbatch AUTHORIZATION ecsbatch_owner;
GRANT USAGE ON SCHEMA ecsbatch TO ecsbatch_run, ecsbatch_read;

-- Of each table that the owner makes, with later versions too.
ALTER DEFAULT PRIVILEGES FOR ROLE ecsbatch_owner IN SCHEMA ecsbatch
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ecsbatch_run;
ALTER DEFAULT PRIVILEGES FOR ROLE ecsbatch_owner IN SCHEMA ecsbatch
    GRANT SELECT ON TABLES TO ecsbatch_read;

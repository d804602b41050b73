"""Alembic's entry: runs the migrations on the connection that `triage_agent.worklist.migrate` passes in.

There is no alembic.ini: the one way to migrate is `triage-agent db upgrade`, which holds a lock.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

"""Run by Alembic: the connection comes from `migrations.upgrade`, already inside a transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()

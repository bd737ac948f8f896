// Workflows and agents that ask, behind Mastra's own HTTP server. The scenarios are those of tests/support/driver.py.
import { serve } from '@hono/node-server';
import { Agent } from '@mastra/core/agent';
import { Mastra } from '@mastra/core/mastra';
import { MastraServer } from '@mastra/hono';
import { LibSQLStore } from '@mastra/libsql';
import { Memory } from '@mastra/memory';
import { Hono } from 'hono';
import { model, tools } from './agent.mjs';
import { events } from './witness.mjs';
import { workflows } from './workflows.mjs';

const port = Number(process.env.PORT);

// The bystander shares threads, tools and storage with the helper: what it is asked about must not be the helper's.
const agents = Object.fromEntries(['bystander', 'helper'].map((id) => [
  id,
  new Agent({ id, name: id, instructions: 'Call the tool.', model, tools, memory: new Memory() }),
]));

const mastra = new Mastra({
  agents,
  workflows,
  storage: new LibSQLStore({ id: 'state', url: 'file:state.db' }),
  logger: false,
});

const app = new Hono();
app.get('/__witness', (context) => context.json(events));
await new MastraServer({ app, mastra, prefix: '/api', openapiPath: '/openapi.json' }).init();
serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }, () => console.log(`http://127.0.0.1:${port}`));

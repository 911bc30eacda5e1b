// Asks Callgate before a tool is called, from Node.js:
//
//   npm install @grpc/grpc-js @grpc/proto-loader
//   node authorize.js
//
// CALLGATE_ADDRESS is where Callgate listens, `127.0.0.1:50051` without it.
'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const PROTO = path.join(__dirname, '..', '..', 'proto');
const definition = protoLoader.loadSync('callgate/v1/authorization.proto', {
  includeDirs: [PROTO],
  keepCase: true,
  enums: String,
  longs: String,
  defaults: true,
});
const { Authorization } = grpc.loadPackageDefinition(definition).callgate.v1;

const client = new Authorization(
  process.env.CALLGATE_ADDRESS ?? '127.0.0.1:50051',
  grpc.credentials.createInsecure(),
);

/** Whether the call may go on, and if not, what to tell the agent. `argumentsJson` is the text that the agent sent. */
function mayCall(agent, person, server, tool, argumentsJson) {
  const request = {
    call_context: {
      subject: { entity: { type: 'Agent', id: agent }, identity: { method: 'jwt', verified: true } },
      delegation: { root: { type: 'User', id: person }, verified: true },
      operation: {
        server,
        // The bytes as the agent sent them: what JSON.parse rounds or drops, Callgate has to see.
        call_tool: { tool, arguments_json: Buffer.from(argumentsJson, 'utf8') },
      },
    },
  };
  return new Promise((resolve) => {
    client.Authorize(request, { deadline: Date.now() + 1000 }, (error, answer) => {
      if (error) {
        // No answer is a deny.
        resolve([false, `no decision: ${grpc.status[error.code]}`]);
      } else if (answer.decision === 'DECISION_ALLOW') {
        resolve([true, '']);
      } else {
        resolve([false, answer.reasons[0]?.message || 'denied']);
      }
    });
  });
}

async function main() {
  const [agent, person, server, tool, argumentsJson] = process.argv.slice(2);
  const call = agent
    ? [agent, person, server, tool, argumentsJson ?? '{}']
    : ['helper', 'ana', 'files', 'read_text_file', '{"path": "/srv/notes/plan.md"}'];
  const [allowed, why] = await mayCall(...call);
  console.log(JSON.stringify({ allowed, why }));
  client.close();
}

main();

#!/usr/bin/env node
// Finds the binary of this system among the optional dependencies, runs it, and ends as it does.
'use strict';

const { spawn } = require('child_process');
const { constants } = require('os');

const candidates = [
  `callgate-${process.platform}-${process.arch}`,
  `callgate-${process.platform}-${process.arch}-gnu`,
];

function find() {
  for (const name of candidates) {
    try {
      return require.resolve(`${name}/bin/callgate`);
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return undefined;
}

const binary = find();
if (binary === undefined) {
  console.error(
    `callgate: no binary for ${process.platform} on ${process.arch}: none of ${candidates.join(', ')} is installed.\n` +
      'If optional dependencies were left out, install again without `--omit=optional`.',
  );
  process.exit(1);
}

const child = spawn(binary, process.argv.slice(2), { stdio: 'inherit' });
// The terminal sends its signals to both; what is sent to this process alone is passed on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
  process.on(signal, () => child.kill(signal));
}
child.on('error', (error) => {
  console.error(`callgate: ${binary} cannot be run: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => {
  process.exit(signal === null ? code : 128 + constants.signals[signal]);
});

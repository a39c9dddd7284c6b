#!/usr/bin/env node
// Lets forge drive the solc that npm delivers: that one is a JavaScript module without a command line, forge wants a
// native solc. Speaks the two requests forge makes, --version and --standard-json, and refuses every other.
'use strict';
const fs = require('fs');
const path = require('path');

const modules = path.join(__dirname, '..', 'node_modules');
const solc = require(path.join(modules, 'solc'));
const args = process.argv.slice(2);

function write(text) {
  const bytes = Buffer.from(text, 'utf8');
  let done = 0;
  while (done < bytes.length) { // a pipe takes what it has room for
    try {
      done += fs.writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function values(option) {
  return args.flatMap((arg, i) => (arg === option && i + 1 < args.length ? [args[i + 1]] : []));
}

function importer(name) {
  const roots = path.isAbsolute(name) ? [''] : [...values('--base-path'), process.cwd(), ...values('--include-path')];
  for (const root of roots) {
    const file = path.join(root, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, 'utf8') };
  }
  return { error: `File not found: ${name}` };
}

if (args.includes('--version')) {
  const version = solc.version().replace('Emscripten.clang', 'Linux.g++');
  write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (args.includes('--standard-json')) {
  write(solc.compile(fs.readFileSync(0, 'utf8'), { import: importer }) + '\n');
} else {
  process.stderr.write('solc.js: answers --version and --standard-json only\n');
  process.exit(1);
}

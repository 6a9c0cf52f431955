// Builds src/ into ../page: one script, one style sheet, the licences of what is in them, and `sources`, a hash of all that they were
// built from, by which a test knows whether they are current (tests/test_explore_built.py).

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

import { defineConfig } from "vite";

const FROM = ["package-lock.json", "package.json", "vite.config.js", ...readdirSync("src").sort().map((name) => `src/${name}`)];

// sha256 of every file's path, a zero byte, its content and another zero byte, in this order.
function sources() {
  const hash = createHash("sha256");
  for (const path of FROM) hash.update(path).update("\0").update(readFileSync(path)).update("\0");
  return hash.digest("hex");
}

export default defineConfig({
  build: {
    outDir: "../page", emptyOutDir: true, target: "es2022", modulePreload: false, license: { fileName: "licenses.md" },
    rollupOptions: { input: "src/main.js", output: { entryFileNames: "page.js", assetFileNames: "page[extname]" } },
  },
  plugins: [{ name: "sources", generateBundle() { this.emitFile({ type: "asset", fileName: "sources", source: `${sources()}\n` }); } }],
});

#!/usr/bin/env bash
# LiteRT.js as the page loads it: one script, and the WebAssembly that it fetches. Whole or not at all.
set -eu
cd "$(dirname "$0")"
runtime=../kcolor/web/runtime
rm -rf "$runtime.new"
mkdir -p "$runtime.new/wasm"
trap 'rm -rf "$runtime.new"' EXIT
npx esbuild node_modules/@litertjs/core/dist/index.js --bundle --minify --format=iife --global-name=LiteRT \
    --log-level=warning --outfile="$runtime.new/litert.js"
# Not the one with JSPI: what it is for, networks that are run half on a GPU, kcolor's are not.
for kind in _ _compat_ _threaded_; do
    cp node_modules/@litertjs/core/wasm/litert_wasm"$kind"internal.{js,wasm} "$runtime.new/wasm/"
done
chmod 644 "$runtime.new"/wasm/*
cp ../LICENSE "$runtime.new/LICENSE"  # LiteRT.js is under the same
node -p '"@litertjs/core " + require("./node_modules/@litertjs/core/package.json").version' > "$runtime.new/VERSION"
rm -rf "$runtime"
mv "$runtime.new" "$runtime"

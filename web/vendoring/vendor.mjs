// Bundles the page's libraries into ../vendor, the same bytes each time from the locked versions.
import { build } from 'esbuild';

for (const name of ['preact', 'uplot']) {
  await build({
    entryPoints: [`${name}.js`],
    outfile: `../vendor/${name}.js`,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'inline',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
  });
}

import { stripVTControlCharacters } from 'node:util';

/** In pixels, of a monospaced letter. */
const LETTER = { width: 8.4, height: 19, size: 14 };
const MARGIN = 14;
const COLOURS: Record<string, string> = { 31: '#ff7b72', 32: '#7ee787', 33: '#f2cc60' };
const PLAIN = '#e6edf3';

/** The text that a terminal shows as an SVG image, with its colours; lines that are too long go on in the next one. */
export function terminalPicture(
  text: string,
  { title, columns }: { title: string; columns: number },
): string {
  const lines = text
    .trimEnd()
    .split('\n')
    .flatMap((line) => wrapped(line, columns));
  const width = Math.ceil(columns * LETTER.width) + 2 * MARGIN;
  const height = lines.length * LETTER.height + 2 * MARGIN;
  const drawn = lines.map((line, index) => {
    const y = MARGIN + (index + 1) * LETTER.height - 5;
    return `<text x="${MARGIN}" y="${y}">${coloured(line)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" rx="6" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="${LETTER.size}" fill="${PLAIN}" xml:space="preserve">
${drawn.join('\n')}
</g>
</svg>
`;
}

/** Lines without colours are broken after the column; those with colours come from a table that fits. */
function wrapped(line: string, columns: number): string[] {
  if (stripVTControlCharacters(line).length <= columns) return [line];
  const indent = (/^ *(?:[\d.]+ s *)?/.exec(line)?.[0] ?? '').replace(/\S/g, ' ');
  const rest = stripVTControlCharacters(line);
  const end = rest.lastIndexOf(' ', columns);
  // A word that is longer than a line is not broken.
  if (end <= indent.length) return [rest];
  return [rest.slice(0, end), ...wrapped(indent + rest.slice(end + 1), columns)];
}

function coloured(line: string): string {
  let colour: string | undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what terminals take
  const parts = line.split(/\u001b\[(\d+)m/);
  return parts
    .map((part, index) => {
      if (index % 2 === 1) {
        colour = COLOURS[part];
        return '';
      }
      const text = escaped(part);
      return colour && text ? `<tspan fill="${colour}">${text}</tspan>` : text;
    })
    .join('');
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

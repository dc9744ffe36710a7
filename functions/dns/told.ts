/** What is told of a name. Of many names with the same trouble it is told once, so it does not depend on where it was seen. */
export interface Told {
  /** Where it was seen: the name itself, or one above it. Empty where the text does not say it. */
  at: string;
  text: (at: string) => string;
}

export const told = (text: string): Told => ({ at: '', text: () => text });

export const textOf = ({ at, text }: Told): string => text(at);

/** More names of one fault than a person reads. */
const MOST_NAMED = 10;
/** The names above are most often a few, and else nearly those at the beginning of the text. */
const MOST_PLACES = 3;

/** What was said of several names once, with the names before it. */
export function grouped(said: readonly { name: string; told: Told }[]): string[] {
  return [...Map.groupBy(said, (one) => one.told.text('')).values()].map((all) => {
    const [first] = all;
    const places = new Set(all.map((one) => one.told.at));
    return `${list(
      all.map(({ name }) => name),
      MOST_NAMED,
    )}: ${first?.told.text(list([...places], MOST_PLACES))}`;
  });
}

function list(names: readonly string[], most: number): string {
  const more = names.length - most;
  return `${names.slice(0, most).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

// What is asked for: texts that copy (code with an edit, quotes of a document, JSON from a table, logs), free ones, and mixed ones.
// Written for this benchmark; a set is some prompts, as text or as a conversation.

const fields = ['name', 'email', 'phone', 'street', 'city', 'country', 'status', 'created']
const code = fields
  .map(
    (field) => `export function set${field[0].toUpperCase()}${field.slice(1)}(user, value) {
  if (typeof value !== 'string') throw new TypeError('${field} must be a string')
  user.${field} = value.trim()
  return user
}`,
  )
  .join('\n\n')

const report = `The harbour of Lindholm was built in 1874 on the west side of the island, where the water is deep enough for large ships. Before that, fishermen pulled their boats up on the beach and carried the catch to the market in baskets. The first lighthouse stood on wooden poles and was lost in the storm of 1891. A second one, made of granite, was finished three years later and is still in use. In the summer of 1923 a railway line connected the harbour with the sawmill in the north, and for forty years most of the timber of the region left the country from here. When the sawmill closed, the rails were taken up and the old track became a path for walkers. Today the harbour serves two ferries, a small fleet of fishing boats and, between May and September, many sailing guests. The town council has decided to renew the eastern pier, which suffers from rot, and to build a museum in the former customs house.`

const people = [
  ['Anna Berg', 34, 'Oslo', 'engineer'],
  ['Jonas Holm', 51, 'Bergen', 'teacher'],
  ['Mette Lund', 28, 'Aarhus', 'nurse'],
  ['Erik Strand', 45, 'Malmo', 'carpenter'],
  ['Sara Dahl', 39, 'Turku', 'lawyer'],
  ['Peter Vik', 62, 'Tromso', 'fisher'],
  ['Ida Nyman', 23, 'Uppsala', 'student'],
  ['Lars Falk', 57, 'Odense', 'baker'],
  ['Eva Sand', 41, 'Espoo', 'painter'],
  ['Nils Berg', 36, 'Lund', 'driver'],
  ['Karin Moe', 48, 'Molde', 'chemist'],
  ['Olav Rud', 31, 'Hamar', 'cook'],
]
const csv = ['name,age,city,job', ...people.map((row) => row.join(','))].join('\n')
const json = ([name, age, city, job]) => `  {"name": "${name}", "age": ${age}, "city": "${city}", "job": "${job}"},`

const events = [
  'connection accepted',
  'request received',
  'cache miss',
  'query executed',
  'response sent',
  'connection closed',
]
const log = (host, lines) =>
  Array.from({ length: lines }, (_, i) => {
    const second = String(10 + i).padStart(2, '0')
    return `2024-03-11T08:15:${second}.000Z INFO  [${host}] worker=${i % 4} client=10.0.0.${(i * 7) % 50} msg="${events[i % events.length]}"`
  }).join('\n')

const user = (content) => ({ messages: [{ role: 'user', content }] })

export const sets = {
  code: [
    user(`${code}\n\nRename the parameter user to person in this file. Print the whole file.`),
    user(`Here is a file:\n\n${code}\n\nAdd a comment above the first function and print the file again.`),
    user(`${code}\n\nRepeat the code above without any change.`),
  ],
  quotes: [
    user(`${report}\n\nRepeat the text above word for word.`),
    user(`Copy this text exactly:\n\n${report}`),
    user(`${report}\n\nQuote everything that the text says about the harbour, sentence by sentence.`),
  ],
  json: [
    { prompt: `${csv}\n\nThe same as JSON:\n[\n${people.slice(0, 2).map(json).join('\n')}\n` },
    { prompt: `Convert the table to JSON.\n\n${csv}\n\n[\n${json(people[0])}\n` },
    { prompt: `${csv}\n\n${csv.split('\n').slice(0, 3).join('\n')}\n` },
  ],
  logs: [{ prompt: `${log('api-1', 14)}\n` }, { prompt: `${log('db-2', 10)}\n` }, { prompt: `${log('edge', 16)}\n` }],
  free: [
    user('Write a story about a lighthouse keeper and a whale.'),
    user('Explain why the sky is blue to a child of ten years.'),
    user('What should I think of before I buy a used bicycle?'),
  ],
  mixed: [
    user(`${report}\n\nWhat is this text about? Then repeat its first three sentences.`),
    user(`${code}\n\nExplain what this code does, then print the first two functions.`),
    user(`${csv}\n\nWho is the oldest person in this table? Tell a short story about that person.`),
  ],
}

export const copyHeavy = ['code', 'quotes', 'json', 'logs']

const sentences = report.match(/[^.]+\. ?/g)
const copied = (from, count) =>
  sentences
    .slice(from, from + count)
    .join('')
    .trim()
const invented = [
  'My grandmother kept bees behind the old school, and every spring she let me paint one of the boxes. Mine was always yellow. She said that bees cannot see red, and that they forgive children more easily than dogs. When it rained we sat under the plum tree with bread and honey, counted the drops on the roof and made up names for the queens.',
  'Nobody in our street could say when the clockmaker slept. His lamp burned at midnight, and before the first tram he was already sweeping snow from his steps. People brought him toys, scales, a music box with a broken dancer; he charged whatever they thought was right. After he died we found forty letters, all of them unopened, on a shelf above the stove.',
  'If you want to learn how to skate, begin on grass. Put on your boots, bend both knees and fall over a few times on purpose, so that your body knows it is allowed. On the ice, look at something far away, never at your feet. Push sideways rather than back, breathe out, and stop long before you are tired, because tired ankles teach bad habits.',
]
const switched = (...parts) => ({ ...user(`${report}\n\nTalk about this text and about other things.`), parts })
const copy = (from, count) => ({ kind: 'copy', text: copied(from, count) })
const free = (i) => ({ kind: 'free', text: invented[i] })

/** Answers that are given word for word, in parts that copy the prompt and parts that nobody could guess. */
export const switching = [
  switched(copy(0, 6), free(0)),
  switched(free(1), copy(3, 6)),
  switched(copy(2, 4), free(2), copy(5, 5)),
]

/** Of the model of stories, which knows nothing else. */
export const stories = {
  stories: ['a shy owl named Luna and a golden kite', 'a fox who lost his hat', 'two frogs and the moon'].map((what) =>
    user(`Tell a story about ${what}.`),
  ),
}

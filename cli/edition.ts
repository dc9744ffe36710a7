// Written by make render: the scripts of the SSM documents, by the end of the document's name.
export const SCRIPTS = {
  'install-on-node': '2c6cec198c0baa624cd080fcb526a3f9c1b6e4417e784c235b07187c6656b8c3',
  'look-at-node': '0dcedca8f4ccb0f97aed569c107e83b1c2912a78a87a31e6e995d3ab8426b65c',
};

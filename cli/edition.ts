// Written by make render: the scripts of the SSM documents, by the end of the document's name.
export const SCRIPTS = {
  'install-on-node': 'a1e6b033fe7162ebc5931ff78199ec1f8aa8e292c823cc521937e92aa8551239',
  'look-at-node': '0dcedca8f4ccb0f97aed569c107e83b1c2912a78a87a31e6e995d3ab8426b65c',
};

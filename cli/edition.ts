// Written by make render: the scripts of the SSM documents, by the end of the document's name.
export const SCRIPTS = {
  'install-on-node': '0fdba6ab168dd548d27e8b73b69368881ad38534778ead0908e40d7d09649b40',
  'look-at-node': 'e8830f3f14eccd78f1dcfa096f57624cc9a27eba9ed2425826363aabe21065ec',
};

// Written by make render: the scripts of the SSM documents, by the end of the document's name.
export const SCRIPTS = {
  'install-on-node': '7ebbcbc3874e457d81d16cadf1075a216f927a0f767145cc0f85ac0e8b074e69',
  'look-at-node': '8abf13c9bf5e239759edeea0e5f57ecf6285ec73a85316332e6dd18953b7bd2b',
};

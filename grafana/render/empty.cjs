// Stands for modules of Node.js that the libraries name and a browser has no use for.
module.exports = {};

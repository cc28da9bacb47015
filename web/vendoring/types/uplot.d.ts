// The plots' library, for the check of types.
declare const uPlot: any;
export default uPlot;
